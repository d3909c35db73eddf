"""The live view: what is seen (`view`), how it is drawn (`frame`), and the terminal (`keys`, `terminal`, `session`).

The view and the frame are pure: they are given what the client says and what keys were pressed, and read no clock. One
thread, the main one, does everything; it waits in one place, for a key, a signal, or a change of the connection.
"""
