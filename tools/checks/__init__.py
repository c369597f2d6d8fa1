"""The checks of `./keelson check`, one module each."""
