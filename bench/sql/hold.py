"""Holds a transaction on a SQLite database: python3 hold.py FILE read|write SECONDS"""
import sqlite3
import sys
import time

file, kind, seconds = sys.argv[1:4]
connection = sqlite3.connect(file, isolation_level=None, timeout=60)
connection.execute("BEGIN IMMEDIATE" if kind == "write" else "BEGIN")
connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
time.sleep(float(seconds))
connection.execute("ROLLBACK")
