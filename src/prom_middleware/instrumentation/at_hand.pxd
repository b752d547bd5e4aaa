# The layout of the class in a compiled build; what the attributes are, `at_hand.py` says.

cdef class AtHand:
    cdef object __weakref__
    cdef public object recorder, turn, store, running, offsets, edges, native_bounds
    cdef public object exemplars, modules, context, unpromised, key, resolve, prefixes
    cdef public object excluded, extra_labels
    cdef public Py_ssize_t native
    cdef public bint traced, promises
