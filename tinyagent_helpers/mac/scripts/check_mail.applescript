-- Takes nothing and changes nothing: asks Mail for a number, which needs the permission to control it.
on run argv
	tell application "Mail" to return count of every account
end run
