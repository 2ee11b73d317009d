"""The application that targets are tried with: it serves on $HOST:$PORT and does what MODE says."""

import http.server
import json
import os
import signal
import sys
import threading

mode = os.environ.get("MODE", "")
print(f"{os.environ['NAME']} starts", flush=True)
if mode == "exit":
    print("ModuleNotFoundError: No module named 'fastapi'", file=sys.stderr, flush=True)
    sys.exit(3)

ending = threading.Event()
waiting = 0


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        global waiting
        answer = os.environ["NAME"]
        if self.path == "/environment":
            answer = json.dumps(dict(os.environ))
        elif self.path == "/arguments":
            answer = json.dumps(sys.argv[1:])
        elif self.path == "/waiting":
            answer = str(waiting)
        elif self.path == "/wait":  # answers once the application has been told to end
            waiting += 1
            ending.wait()
            answer = "finished"
        data = answer.encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(data)
        self.close_connection = True

    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        self.do_GET()

    def log_message(self, *_):
        pass


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = False  # server_close waits for requests


server = Server((os.environ["HOST"], int(os.environ["PORT"])), Handler)


def end(*_):
    if mode == "stubborn":
        print("no", flush=True)
        return
    ending.set()
    threading.Thread(target=server.shutdown).start()


signal.signal(signal.SIGTERM, end)
print(f"{os.environ['NAME']} listens", flush=True)
server.serve_forever(poll_interval=0.02)
server.server_close()
print(f"{os.environ['NAME']} ends", flush=True)
