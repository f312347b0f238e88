-- Takes nothing and changes nothing: asks Messages for a number, which needs the permission to control it.
on run argv
	tell application "Messages" to return count of every account
end run
