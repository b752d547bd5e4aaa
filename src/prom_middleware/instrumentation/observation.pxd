# The layout of the class in a compiled build, and what is called often: see `observation.py`.

cimport cython
from prom_middleware.instrumentation.at_hand cimport AtHand
from prom_middleware.instrumentation.rare cimport Rare

cdef class Observation:
    cdef object __weakref__
    cdef public AtHand core
    cdef public Rare rare
    cdef public tuple _labels
    cdef public object method, promised, request, route, status
    cdef public bint done
    cdef public Py_ssize_t received, sent
    cdef public double started

    cpdef begin(self, AtHand core, request, method)
    @cython.locals(core=AtHand, rare=Rare, seconds=double, offset=Py_ssize_t)
    cpdef finish(self, outcome=*, late=*)
    @cython.locals(core=AtHand, rare=Rare)
    cpdef promise(self)
    cpdef returned(self)
