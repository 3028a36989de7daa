mod hostile;
mod simulation;
mod two_nodes;
