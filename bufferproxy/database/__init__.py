"""A SQLite file that survives power loss: the only place that knows sqlite3.

One connection writes and checkpoints, on a thread of its own; another reads, on another. (SQLite before
3.51.3 can corrupt a file that two connections write and checkpoint at once.) Whatever has queued while one
transaction was being synced goes into the next: group commit, without any delay of its own.

What can go wrong, and what follows:
1. The disk is full: the transaction is rolled back, its works are told StorageFull, and the next one tries
   again. Works that may wait (`deferrable`) are refused earlier, while `reserve` bytes are still free.
2. Another program has locked the file (a backup, a browser): the transaction did not begin, its works are
   told StorageLocked, and the next one tries again. Nothing else waits for another program: a checkpoint
   copies what it can, and while another program goes on reading, the write-ahead log grows into the half of
   what is free above the reserve.
3. Any other error of input or output: `fatal` is called, on the thread where it happened. After a failed
   fsync nobody knows what is on the disk, so nothing is retried; the process ends and recovers.
4. The file is damaged, newer, or held by another process: LogUnusable, with the mend.

Nothing of it may be carried across a fork.
"""

from bufferproxy.database.database import Database, open_database
from bufferproxy.database.file import PAGE, WAL_CAP, Connection, Schema, sync_folder
from bufferproxy.database.writer import Fatal, Upkeep, Work, end_process

__all__ = [
    "PAGE",
    "WAL_CAP",
    "Connection",
    "Database",
    "Fatal",
    "Schema",
    "Upkeep",
    "Work",
    "end_process",
    "open_database",
    "sync_folder",
]
