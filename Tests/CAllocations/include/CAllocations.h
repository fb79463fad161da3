#ifndef C_ALLOCATIONS_H
#define C_ALLOCATIONS_H

#include <stdbool.h>

/// How often the calling thread has asked the C library for memory.
unsigned long allocations_of_thread(void);

/// Not under the address sanitizer, which has an allocator of its own.
bool allocations_are_counted(void);

#endif
