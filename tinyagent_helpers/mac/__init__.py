"""The Mac the assistant works on: one protocol, a simulated Mac, and (chapter 7) a real one."""
