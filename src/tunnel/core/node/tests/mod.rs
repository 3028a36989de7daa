mod flows;
mod hostile;
mod simulation;
mod two_nodes;
