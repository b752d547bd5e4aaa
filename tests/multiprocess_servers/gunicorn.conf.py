"""What every gunicorn that is started here reads by itself."""

# Its master would import asyncio for it, which takes longer than to serve what most tests ask.
control_socket_disable = True
