"""A stand-in for Hermes Agent: `hermes gateway run`, on the standard library alone.

It speaks Hermes' HTTP API as version 0.19 does, asks the model that `config.yaml` names, runs the
shell commands it is told, asks before dangerous ones and calls the plugin's hooks. It imports
nothing of ours: `agents.make_stand_in` copies this package into an environment of its own, as
`hermes_cli`, from where it is started like the real one, in the same sandbox.
HERMES_STAND_IN_WIRE=new makes it speak the newer wire: runs that are begun once, questions with
names, streams that can be read again.
"""
