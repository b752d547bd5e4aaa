# The layout of the class in a compiled build, see `rare.py`.

cdef class Rare:
    cdef public object counted, earlier, error, promised_in, resolve, trace
    cdef public bint broken, disconnected, event_stream, refused, trailers
