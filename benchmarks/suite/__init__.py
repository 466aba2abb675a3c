"""What `fusedlstm bench` can do without: our targets and models, the machine's limits, reports, pictures, changes."""
