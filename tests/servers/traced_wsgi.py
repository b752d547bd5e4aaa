"""A WSGI application with exemplars and native histograms, for scrapers."""

from __future__ import annotations

import os
import time

from flask import Flask

from prom_middleware import instrument

app = Flask(__name__)


@app.route("/work/<seconds>")
def work(seconds: str) -> str:
    time.sleep(float(seconds))
    return str(os.getpid())


app = instrument(app, native_histograms=True)
