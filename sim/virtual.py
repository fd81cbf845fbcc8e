"""`spikeloom serve`: a virtual board as a server of PYNQ.remote's protocol (gRPC), for pynq's own client.

The messages and the servicers' base classes are those that pynq ships from 3.1 on. A request that is wrong, or that this board
cannot serve, is answered with a gRPC status and a sentence; nothing that a client sends ends the server. There is no encryption and
no password, as with a real board's server.
"""

from __future__ import annotations

import functools
import os
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

os.environ.setdefault("GRPC_VERBOSITY", "NONE")  # what goes wrong is said here
with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # pynq says that this computer is no board
    import grpc
    from pynq.remote import buffer_pb2, buffer_pb2_grpc, mmio_pb2, mmio_pb2_grpc, remote_device_pb2, remote_device_pb2_grpc

from spikeloom.errors import MachineError
from spikeloom.host.board_remote import PORT
from spikeloom.sim.virtual_board import Refused, VirtualBoard

#: Bytes of a message at the most: gRPC's own limit is 4 MiB.
CHUNK = 1 << 20
#: Requests that are served at a time. One that runs the simulation lasts; files and handshakes are answered meanwhile.
THREADS = 16
#: Seconds that requests are given to end when the server is stopped.
GRACE_S = 1.0
_CODES = {"missing": grpc.StatusCode.NOT_FOUND, "invalid": grpc.StatusCode.INVALID_ARGUMENT,
          "exhausted": grpc.StatusCode.RESOURCE_EXHAUSTED, "impossible": grpc.StatusCode.FAILED_PRECONDITION}
#: pynq 3.1 declares a register's value as signed, 4.0 as unsigned; on the wire they are the same.
_SIGNED = mmio_pb2.ReadResponse.DESCRIPTOR.fields_by_name["data"].cpp_type == 1  # CPPTYPE_INT32


def _answered(method: Callable[[Any, Any], Any]) -> Callable[[Any, Any, Any], Any]:
    """Turn what goes wrong into a status."""
    @functools.wraps(method)
    def call(self: Any, request: Any, context: Any) -> Any:
        try:
            return method(self, request)
        except Refused as error:
            code, text = _CODES[error.kind], str(error)
        except Exception as error:  # a server must outlive any request
            code, text = grpc.StatusCode.INTERNAL, f"The virtual board failed: {type(error).__name__}: {error}"
        return context.abort(code, text)
    return call


def _refused(_: Any, __: Any, context: Any) -> Any:
    context.abort(grpc.StatusCode.UNIMPLEMENTED, "The virtual board does not offer this: pynq's client loads bitstreams and sets clocks "
                                                 "by files and registers")


class _Device(remote_device_pb2_grpc.RemoteDeviceServicer):  # type: ignore[misc]  # pynq's class has no types
    """Files, and bitstreams by them."""

    download = set_pl_clk = shutdown = _refused

    def __init__(self, board: VirtualBoard) -> None:
        self._board = board

    @_answered
    def set_bitstream_attrs(self, request: Any) -> Any:
        self._board.expect_bitstream(request.binfile_name, request.partial)
        return remote_device_pb2.SetBitstreamAttrsResponse(status=True)

    @_answered
    def existsfile(self, request: Any) -> Any:
        return remote_device_pb2.ExistsFileResponse(exists=self._board.exists(request.file_path))

    @_answered
    def readfile(self, request: Any) -> Iterator[Any]:
        data = self._board.read_file(request.file_path)
        return (remote_device_pb2.ReadFileResponse(data=part) for part in _parts(data))

    @_answered
    def writefile(self, requests: Any) -> Any:
        path, parts, size = "", [], 0
        for request in requests:
            path = path or request.file_path
            parts.append(request.data)
            size += len(request.data)
            self._board.room(path, size)
        self._board.write_file(path, b"".join(parts))
        return remote_device_pb2.WriteFileResponse()


class _Mmio(mmio_pb2_grpc.MmioServicer):  # type: ignore[misc]  # pynq's class has no types
    """Registers."""

    def __init__(self, board: VirtualBoard) -> None:
        self._board = board

    @_answered
    def get_mmio(self, request: Any) -> Any:
        return mmio_pb2.GetMmioResponse(status=True, mmio_id=self._board.window(request.base_addr, request.length))

    @_answered
    def read(self, request: Any) -> Any:
        value = self._board.read(request.mmio_id, request.offset, request.length)
        return mmio_pb2.ReadResponse(status=True, data=value - (1 << 32) if _SIGNED and value >> 31 else value)

    @_answered
    def write(self, request: Any) -> Any:
        self._board.write(request.mmio_id, request.offset, request.data)
        return mmio_pb2.WriteResponse(status=True)


class _Buffer(buffer_pb2_grpc.RemoteBufferServicer):  # type: ignore[misc]  # pynq's class has no types
    """Contiguous memory."""

    def __init__(self, board: VirtualBoard) -> None:
        self._board = board

    @_answered
    def allocate(self, request: Any) -> Any:
        return buffer_pb2.AllocateResponse(buffer_id=self._board.allocate(request.size, request.cacheable))

    @_answered
    def write(self, requests: Any) -> Any:
        """The messages' bytes, one after the other, from the buffer's start."""
        at = 0
        for request in requests:
            target = self._board.buffer(request.buffer_id).cached[at:at + len(request.data)]
            if len(target) < len(request.data):
                raise Refused("invalid", f"The buffer has {at + len(target)} bytes, more were sent")
            target[:] = np.frombuffer(request.data, np.uint8)
            at += len(target)
        return buffer_pb2.BufferWriteResponse()

    @_answered
    def read(self, request: Any) -> Iterator[Any]:
        data = self._board.buffer(request.buffer_id).cached.tobytes()
        return (buffer_pb2.BufferReadResponse(data=part) for part in _parts(data))

    @_answered
    def freebuffer(self, request: Any) -> Any:
        self._board.free(request.buffer_id)
        return buffer_pb2.FreeBufferResponse()

    @_answered
    def flush(self, request: Any) -> Any:
        self._board.flush(request.buffer_id)
        return buffer_pb2.FlushResponse()

    @_answered
    def invalidate(self, request: Any) -> Any:
        self._board.invalidate(request.buffer_id)
        return buffer_pb2.InvalidateResponse()

    @_answered
    def physical_address(self, request: Any) -> Any:
        return buffer_pb2.AddressResponse(address=self._board.buffer(request.buffer_id).address)

    virtual_address = physical_address  # the server's own addresses mean nothing to a client

    @_answered
    def cacheable(self, request: Any) -> Any:
        return buffer_pb2.CacheableResponse(cacheable=self._board.buffer(request.buffer_id).cacheable)


class _Others(grpc.GenericRpcHandler):  # type: ignore[misc]  # grpc has no types
    """Everything that the protocol has beside (GPIO, RF clocks and converters)."""

    def service(self, details: Any) -> Any:
        def refuse(_: Any, context: Any) -> Any:
            context.abort(grpc.StatusCode.UNIMPLEMENTED, f"The virtual board has no {details.method}")
        return grpc.stream_stream_rpc_method_handler(refuse)


def _parts(data: bytes) -> Iterator[bytes]:
    return (data[at:at + CHUNK] for at in range(0, len(data), CHUNK))


class Server:
    """A virtual board's server, listening from the start.

    Parameters
    ----------
    board
        What it serves; closed with it.
    address, port
        Where it listens. Port 0 takes a free one; ``port`` tells which.

    MachineError when something else listens there.
    """

    def __init__(self, board: VirtualBoard, address: str = "127.0.0.1", port: int = PORT) -> None:
        self._board = board
        self._server = grpc.server(ThreadPoolExecutor(THREADS), options=[("grpc.so_reuseport", 0)])  # else two would share a port
        remote_device_pb2_grpc.add_RemoteDeviceServicer_to_server(_Device(board), self._server)
        mmio_pb2_grpc.add_MmioServicer_to_server(_Mmio(board), self._server)
        buffer_pb2_grpc.add_RemoteBufferServicer_to_server(_Buffer(board), self._server)
        self._server.add_generic_rpc_handlers((_Others(),))
        try:
            self.port = self._server.add_insecure_port(f"{address}:{port}")
        except RuntimeError:
            raise MachineError(f"Nothing can listen at {address}:{port}: another server is there (another virtual board?), or this "
                               f"computer does not have the address") from None
        self._server.start()

    def stop(self) -> bool:
        """End it; False when a simulation is still running, whose memory then must not be freed."""
        self._server.stop(GRACE_S).wait()
        if not self._board.lock.acquire(timeout=GRACE_S):
            return False
        self._board.lock.release()
        self._board.close()
        return True


def serve(board: VirtualBoard, address: str, port: int, started: Callable[[int], None], orphan: bool = True) -> None:
    """Serve until SIGINT or SIGTERM, and unless it may be an ``orphan``, until the process that started this one has ended.
    ``started`` is called with the port when the board can be reached."""
    ended, parent = threading.Event(), os.getppid()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: ended.set())
    server = Server(board, address, port)
    started(server.port)
    while not ended.wait(1.0) and (orphan or os.getppid() == parent):
        pass
    if not server.stop():
        sys.stderr.write("A simulation was still running\n")
        sys.stderr.flush()
        sys.stdout.flush()
        os._exit(0)  # its thread would keep the process alive until the simulation ends
