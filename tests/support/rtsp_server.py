"""An RTSP camera on this machine: JPEG frames in RTP (RFC 2435) over the same connection."""

import contextlib
import socketserver
import struct
import threading
import time

from stream_server import HEIGHT, WIDTH, jpeg

CLOCK = 90_000  # of RTP's time stamps, a second
RATE = 25
PACKET = 1200


def parts(encoded):
    """Return the quantization tables, in order, and the compressed data of a JPEG."""
    tables, place = {}, 2
    while True:
        marker, length = struct.unpack_from(">HH", encoded, place)
        content = encoded[place + 4 : place + 2 + length]
        place += 2 + length
        while marker == 0xFFDB and content:
            tables[content[0]] = content[1:65]
            content = content[65:]
        if marker == 0xFFDA:
            return b"".join(tables[key] for key in sorted(tables)), encoded[place:-2]


def packets(number, sequence):
    """Yield the RTP packets of a frame."""
    tables, data = parts(jpeg(number))
    stamp = sequence * CLOCK // RATE
    for start in range(0, len(data), PACKET):
        # 4:2:0, tables in the first packet, sides in blocks of 8.
        head = struct.pack(">I", start) + bytes([1, 255, WIDTH // 8, HEIGHT // 8])
        if start == 0:
            head += struct.pack(">BBH", 0, 0, len(tables)) + tables
        is_last = start + PACKET >= len(data)
        kind = 26 | (0x80 if is_last else 0)
        count = (sequence * 100 + start // PACKET) & 0xFFFF
        rtp = struct.pack(">BBHII", 0x80, kind, count, stamp, 7)
        yield rtp + head + data[start : start + PACKET]


class Camera(socketserver.StreamRequestHandler):
    """One connection; the server has `numbers`, the frames to send."""

    def handle(self):
        with contextlib.suppress(OSError):
            while self.answer():
                pass

    def answer(self):
        first = self.rfile.readline().decode().split()
        if not first:
            return False
        lines = iter(lambda: self.rfile.readline().decode().strip(), "")
        headers = dict(line.split(": ", 1) for line in lines)
        method, url = first[0], first[1]
        content, extra = "", ""
        if method == "OPTIONS":
            extra = "Public: OPTIONS, DESCRIBE, SETUP, PLAY, TEARDOWN\r\n"
        elif method == "DESCRIBE":
            content = (
                "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=yard\r\nt=0 0\r\n"
                f"m=video 0 RTP/AVP 26\r\na=framerate:{RATE}\r\na=control:track\r\n"
            )
            extra = f"Content-Base: {url}/\r\nContent-Type: application/sdp\r\n"
        elif method == "SETUP":
            if "TCP" not in headers["Transport"]:
                self.reply(headers, "461 Unsupported Transport", "", "")
                return True
            extra = "Transport: RTP/AVP/TCP;unicast;interleaved=0-1\r\nSession: 1\r\n"
        elif method == "PLAY":
            extra = "Session: 1\r\n"
        self.reply(headers, "200 OK", extra, content)
        if method == "PLAY":
            self.play()
        return method not in ("PLAY", "TEARDOWN")

    def reply(self, headers, status, extra, content):
        length = f"Content-Length: {len(content)}\r\n" if content else ""
        text = f"RTSP/1.0 {status}\r\nCSeq: {headers['CSeq']}\r\n{extra}{length}\r\n{content}"
        self.wfile.write(text.encode())

    def play(self):
        for sequence, number in enumerate(self.server.numbers):
            for packet in packets(number, sequence):
                self.wfile.write(b"$\0" + struct.pack(">H", len(packet)) + packet)
            time.sleep(1 / RATE / 4)


@contextlib.contextmanager
def rtsp_camera(numbers):
    """Serve frames; give the address."""
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Camera) as server:
        server.daemon_threads, server.numbers = True, list(numbers)
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield f"rtsp://127.0.0.1:{server.server_address[1]}/yard"
        finally:
            server.shutdown()
            thread.join()
