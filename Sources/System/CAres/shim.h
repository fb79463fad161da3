// c-ares includes the system's socket headers. Without this, clang may count their types as this module's own,
// and then Swift files that use those types would have to import c-ares to see their members.
#pragma clang module import SwiftGlibc
// Later versions have functions that take parsed messages beside those that take bytes, and would warn of the latter.
#define CARES_NO_DEPRECATED
#include <ares.h>
