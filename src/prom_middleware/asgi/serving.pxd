# The layout of the class in a compiled build, see `serving.py`. Without `app`: that is its users',
# who may patch it in their tests, or derive a class that has a property of this name.

from prom_middleware.instrumentation.at_hand cimport AtHand

cdef class Door:
    cdef object __weakref__
    cdef public object _dialect, _metrics, _metrics_paths, _noted, _traces
    cdef public AtHand _core
