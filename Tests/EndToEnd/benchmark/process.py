"""What the system counts of a process, and which processors it runs on."""

import os


def cores():
    return sorted(os.sched_getaffinity(0))


def pin(pids):
    """Puts processes on the first core, where there are two: what loads them is on the second."""
    if len(cores()) < 2:
        return
    for pid in pids:
        for thread in os.listdir(f"/proc/{pid}/task"):
            os.sched_setaffinity(int(thread), {cores()[0]})


def leave_first_core():
    """For a child before its program starts: the opposite."""
    if len(cores()) > 1:
        os.sched_setaffinity(0, set(cores()[1:]))


def cpu_nanoseconds(pids):
    """What all threads of the processes have run, in user space and kernel, by the scheduler's count."""
    total = 0
    for pid in pids:
        for thread in os.listdir(f"/proc/{pid}/task"):
            try:
                with open(f"/proc/{pid}/task/{thread}/schedstat") as numbers:
                    total += int(numbers.read().split()[0])
            except FileNotFoundError:
                # A thread that has just ended.
                pass
    return total


def private_bytes(pids):
    total = 0
    for pid in pids:
        with open(f"/proc/{pid}/smaps_rollup") as lines:
            total += 1024 * sum(int(line.split()[1]) for line in lines if line.startswith("Private_"))
    return total
