# SPDX-License-Identifier: MIT
# bcc's ring buffers: an entry by output, a return by reserve. Usage: ring.py SAMPLE COMMAND...
import subprocess, sys
from bcc import BPF
sample = sys.argv[1]
b = BPF(text="""
#include <uapi/linux/ptrace.h>
struct event { u64 number; u32 pid, which; };
BPF_RINGBUF_OUTPUT(events, 64);
int by_output(struct pt_regs *ctx)
{
	struct event event = {.number = PT_REGS_PARM1(ctx), .pid = bpf_get_current_pid_tgid() >> 32};
	events.ringbuf_output(&event, sizeof(event), 0);
	return 0;
}
int by_submit(struct pt_regs *ctx)
{
	struct event *event = events.ringbuf_reserve(sizeof(*event));
	if (!event)
		return 1;
	event->number = PT_REGS_RC(ctx);
	event->pid = bpf_get_current_pid_tgid() >> 32;
	event->which = 1;
	if (event->number % 5 == 0)
		events.ringbuf_discard(event, 0);
	else
		events.ringbuf_submit(event, 0);
	return 0;
}
""")
b.attach_uprobe(name=sample, sym="work", fn_name="by_output")
b.attach_uretprobe(name=sample, sym="work", fn_name="by_submit")
numbers = ([], [])
entries = {}
last = None
def receive(ctx, data, size):
    global last
    event = b["events"].event(data)
    numbers[event.which].append(event.number)
    if event.which == 0:
        entries.setdefault(event.pid, []).append(event.number)
        last = event.pid
b["events"].open_ring_buffer(receive)
command = subprocess.Popen(sys.argv[2:], stdout=subprocess.DEVNULL)
seen = -1
while command.poll() is None or seen != len(numbers[0]):
    seen = len(numbers[0])
    b.ring_buffer_poll(300)
for way in numbers:
    print(len(way), sum(way))
print(len(entries), "processes")
print("last:", len(entries[last]), "in order" if entries[last] == sorted(entries[last]) else "mixed")
