# The layout of the class in a compiled build, see `serving.py`.

from prom_middleware.instrumentation.at_hand cimport AtHand

cdef class Door:
    cdef object __weakref__
    cdef public object app, _dialect, _metrics, _metrics_paths, _noted, _traces
    cdef public AtHand _core
