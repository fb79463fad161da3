// For CSwitchyard's C files, by way of their own includes. Swift sees nothing of Lua: most of its functions leave by
// longjmp, which no Swift frame survives.
