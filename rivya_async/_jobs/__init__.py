"""One job runner for batches, workers and the command line.

1. A job moves through the states of `transitions.TRANSITIONS`; nothing else may happen to it.
2. `JobRunner` takes the steps: it purchases the job, waits for its end, saves its files, and records each step.
3. `INTENT` is stored before a purchase is sent, so that the next runner repeats the purchase under the same key.
4. The key of a purchase never changes, over all restarts. Another purchase of a failed job, and a job in doubt that its
   owner retries, get another key.
5. A purchase with an unknown outcome is "in doubt": it is repeated until the service is about to forget the key.
6. `classify_error` is pure: it maps the state, an error and the doubt to one `JobAction`.
7. A `JobStore` holds the request, the record and the files of one job. Batches implement it over the SQLite journal,
   workers over Redis or memory, the command line over an object in memory.
8. A `JobPolicy` holds the other differences as values: which actions are tried again and for how long, whether other
   processes may work on the same job, and which errors every other job would meet too.
9. A shutdown cancels waits and pauses at once. The response to a purchase gets `GRACE` seconds more.
10. The runner never opens a session, a store or a queue. Its users do.
"""
