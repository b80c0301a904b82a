"""The agent contract: one suite for the stand-ins of Hermes Agent and for the real one."""
