"""The Berkeley Function Calling Leaderboard (BFCL), offline: its own data and checkers, our models' answers, honest scores."""
