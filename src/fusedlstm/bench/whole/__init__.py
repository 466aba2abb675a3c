"""Whole models beside other engines: `fusedlstm bench FILE`."""
