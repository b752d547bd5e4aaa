"""What the processes cost that serve the application.

procfs.py        what /proc says of one process
holders.py       who holds the slots of a store
gauges.py        what is read from living processes alone
ledger.py        CPU time that is never counted twice and never forgotten
processes.py     the collector of all workers, in the place of prometheus_client's
"""
