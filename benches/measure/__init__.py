"""What takes the times: a module for each subject of the command line, and the processes in which peers live."""
