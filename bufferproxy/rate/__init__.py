"""One ceiling for all replicas: rate and concurrency leased through the control topic. Pure.

Read `records` (what is said), `fence` (whose word counts), `ledger` (what each worker may hold at most),
`shares` and `turns` (who shall hold what), then `leader`, `holder` and `replica`, which is all that a process
needs of it. Why the ceiling holds is argued in `docs/decisions/0008-one-ceiling-for-all-replicas.md`.
"""
