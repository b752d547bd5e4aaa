# The layout of the classes in a compiled build; what the attributes are, `routing.py` says.

cdef class Routes:
    cdef public object routes, single
    cdef public Py_ssize_t size
    cdef object _count, _seen, _lists, _lengths, _strangers, _entries, _opaque, _hosted, _before
    cdef object _by_endpoint, _by_route

cdef class Router:
    cdef object _app, _routes, _bare, _tables
    cdef Routes _last
