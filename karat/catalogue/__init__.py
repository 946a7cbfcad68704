"""What there is: the features with their figures, where everything comes from, and questions in SQL."""
