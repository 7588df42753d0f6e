"""Counts visits, in a SQLite database beside this file's working folder."""

import os
import sqlite3
from http.server import BaseHTTPRequestHandler, HTTPServer

database = os.environ.get("DATABASE", "/tmp/visits.db")


class Visits(BaseHTTPRequestHandler):
    def do_GET(self):
        with sqlite3.connect(database) as connection:
            connection.execute("create table if not exists visits (path text)")
            connection.execute("insert into visits values (?)", (self.path,))
            (count,) = connection.execute("select count(*) from visits").fetchone()
        body = f"visit {count}\n".encode()
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


if __name__ == "__main__":
    port = int(os.environ["PORT"])
    print(f"listening on {port}")
    HTTPServer(("", port), Visits).serve_forever()
