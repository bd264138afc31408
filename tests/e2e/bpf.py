# SPDX-License-Identifier: MIT
"""bpf(2) and its neighbours by number, for tests that need arguments no tool would pass."""
import ctypes
import errno
import struct
import subprocess

MAP_CREATE, MAP_LOOKUP, MAP_UPDATE, PROG_LOAD, OBJ_PIN, OBJ_GET = 0, 1, 2, 5, 6, 7
MAP_BY_ID, PROG_TEST_RUN, OBJ_INFO, RAW_TRACEPOINT_OPEN, BTF_LOAD, LINK_CREATE = 14, 10, 15, 17, 18, 28
HASH, ARRAY, PROG_ARRAY, ARRAY_OF_MAPS = 1, 2, 3, 12
SOCKET_FILTER, KPROBE, PERF_EVENT, RAW_TRACEPOINT, TRACING = 1, 2, 7, 17, 26
SOFTWARE, CPU_CLOCK, PAGE_FAULTS, BPF_OUTPUT = 1, 0, 2, 10
SAMPLE_RAW = 1 << 10
UPROBE_MULTI = 48
IOC_SET_BPF = 0x40042408
FLAG_CLOEXEC = 8

libc = ctypes.CDLL(None, use_errno=True)
libc.syscall.restype = ctypes.c_long


def syscall(number, *args):
    """Its result, or the name of its error."""
    # Copies: a buffer of Python's must not move or end while the call looks at it.
    held = [ctypes.create_string_buffer(a, max(len(a), 1)) if isinstance(a, bytes) else a for a in args]
    numbers = [ctypes.addressof(a) if isinstance(a, ctypes.Array) else a for a in held]
    result = libc.syscall(*[ctypes.c_long(n) for n in [number] + numbers])
    return result if result >= 0 else errno.errorcode.get(ctypes.get_errno(), ctypes.get_errno())


def bpf(command, attr):
    return syscall(321, command, attr, len(attr))


def map_create(kind=HASH, key=4, value=8, entries=16, inner=0, name=b"", btf=0, btf_types=0):
    """btf: its descriptor; btf_types: number of the type of both key and value"""
    return bpf(MAP_CREATE, struct.pack("7I16s4I", kind, key, value, entries, 0, inner, 0, name, 0, btf,
                                       btf_types, btf_types))


def insn(code, dst=0, src=0, off=0, imm=0):
    return struct.pack("<BBhi", code, dst | src << 4, off, imm)


def returns(value):
    return insn(0xb7, imm=value)


def call(helper):
    return insn(0x85, imm=helper)


def load_map(fd, dst=1):
    return insn(0x18, dst, 1, imm=fd) + insn(0)


EXIT = insn(0x95)
NOTHING = returns(0) + EXIT


def prog_load(kind=SOCKET_FILTER, code=NOTHING, log=None, attach_type=0, btf=0, fds=(), device=0, target=0, function=0,
              funcs=()):
    """log: a buffer of ctypes for the verifier's words; btf: its descriptor; fds: what the code names by position;
    target: descriptor of a program to attach to; function: number of the kernel's function to attach to;
    funcs: pairs of an instruction and a type, of each function"""
    code = ctypes.create_string_buffer(code, len(code))
    gpl = ctypes.create_string_buffer(b"GPL")
    array = (ctypes.c_int * max(len(fds), 1))(*fds)
    records = ctypes.create_string_buffer(b"".join(struct.pack("2I", *func) for func in funcs))
    return bpf(PROG_LOAD, struct.pack("2I2Q2IQ2I16s4IQI16x2I4xQ", kind, len(code) // 8, ctypes.addressof(code),
                                      ctypes.addressof(gpl), 1 if log else 0, len(log) if log else 0,
                                      ctypes.addressof(log) if log else 0, 0, 0, b"", device, attach_type, btf, 8,
                                      ctypes.addressof(records), len(funcs), function, target, ctypes.addressof(array) if fds else 0))


def raw_tracepoint(prog, name=b"sched_switch"):
    name = ctypes.create_string_buffer(name)
    return bpf(RAW_TRACEPOINT_OPEN, struct.pack("QI4x", ctypes.addressof(name), prog))


def link_create(prog, target, attach_type=41):
    """To a perf event, if nothing else is said."""
    return bpf(LINK_CREATE, struct.pack("4IQ", prog, target, attach_type, 0, 0))


def uprobe_multi(prog, path, offsets, counters=None):
    path = ctypes.create_string_buffer(path.encode())
    offsets = (ctypes.c_uint64 * len(offsets))(*offsets)
    counters = (ctypes.c_uint64 * len(offsets))(*counters) if counters else None
    return bpf(LINK_CREATE, struct.pack("4I4Q4I", prog, 0, UPROBE_MULTI, 0, ctypes.addressof(path), ctypes.addressof(offsets),
                                        ctypes.addressof(counters) if counters else 0, 0, len(offsets), 0, 0, 0))


def elf_offset(path, symbol):
    """Where in the file a symbol lies."""
    def output(*command):
        return subprocess.check_output(command, text=True).splitlines()
    address = [int(line.split()[0], 16) for line in output("nm", path) if line.endswith(" " + symbol)][0]
    for line in output("readelf", "-lW", path):
        fields = line.split()
        if fields and fields[0] == "LOAD":
            start, at, size = int(fields[1], 16), int(fields[2], 16), int(fields[5], 16)
            if at <= address < at + size:
                return address - at + start


def perf_attr(kind=SOFTWARE, config=CPU_CLOCK, period=1000000000, sample=0, read_format=0, bits=0, **fields):
    """fields: name of one that comes later, from struct perf_event_attr"""
    later = dict(branch_sample_type=72, sample_regs_user=80, sample_stack_user=88, clockid=92, sample_regs_intr=96,
                 aux_watermark=104, sample_max_stack=108, sig_data=120)
    attr = bytearray(struct.pack("2I5Q", kind, 128, config, period, sample, read_format, bits).ljust(128, b"\0"))
    for name, value in fields.items():
        struct.pack_into("H" if name == "sample_max_stack" else "I", attr, later[name], value)
    return bytes(attr)


def perf_event_open(attr, pid=-1, cpu=0, group=-1, flags=0):
    return syscall(298, attr, pid, cpu, group, flags)


def ioctl(fd, number, arg=0):
    return syscall(16, fd, number, arg)


# One integer, its name at the end.
BTF = struct.pack("<HBB5I", 0xeb9f, 1, 0, 24, 0, 16, 16, 5) + struct.pack("<4I", 1, 1 << 24, 4, 32) + b"\0int\0"


# int, int (void), and a static and a global function of that: numbers 3 and 4
FUNCS = struct.pack("<HBB5I", 0xeb9f, 1, 0, 24, 0, 52, 52, 12) + struct.pack(
    "<4I3I3I3I", 1, 1 << 24, 4, 1 << 24 | 32, 0, 13 << 24, 1, 5, 12 << 24, 2, 7, 12 << 24 | 1, 2) + b"\0int\0f\0main\0"


def btf_load(data=BTF):
    data = ctypes.create_string_buffer(data, len(data))
    return bpf(BTF_LOAD, struct.pack("2Q4I", ctypes.addressof(data), 0, len(data), 0, 0, 0))


def info(fd, size=256):
    """Of an object, or the name of an error."""
    room = ctypes.create_string_buffer(size)
    result = bpf(OBJ_INFO, struct.pack("2IQ", fd, size, ctypes.addressof(room)))
    return room.raw if result == 0 else result


def obj(command, path, fd=0):
    """OBJ_PIN or OBJ_GET"""
    path = ctypes.create_string_buffer(path.encode())
    return bpf(command, struct.pack("Q2I", ctypes.addressof(path), fd, 0))


def said(result):
    """For comparisons: descriptors differ, errors do not."""
    return "ok" if isinstance(result, int) else result
