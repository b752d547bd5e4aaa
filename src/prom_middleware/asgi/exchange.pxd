# The layout of the class in a compiled build, see `exchange.py`.

from prom_middleware.instrumentation.observation cimport Observation

cdef class Exchange(Observation):
    cdef public object headers, server_receive, server_send
