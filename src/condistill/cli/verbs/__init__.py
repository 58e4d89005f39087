"""Verbs, one file each: a module of this folder is a verb of that name.

A verb's module has a function of the module's name, whose signature is its command line and whose docstring its help,
and `PANEL`, one of `condistill.cli.app.PANELS`. Only typer and `condistill.cli` are imported at its top: everything
heavy is imported inside the function, so that `condistill --help` answers at once.
"""
