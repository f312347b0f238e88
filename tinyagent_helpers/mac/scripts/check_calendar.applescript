-- Takes nothing and changes nothing: asks Calendar for a number, which needs the permission to control it.
on run argv
	tell application "Calendar" to return count of every calendar
end run
