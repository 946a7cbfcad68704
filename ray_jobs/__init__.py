"""WHERE does it run? Programs for the Ray cluster: they spread karat's functions over it."""
