"""One module for each kind of application: bare, and in every way that it can be instrumented."""
