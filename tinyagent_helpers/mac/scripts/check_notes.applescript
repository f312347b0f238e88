-- Takes nothing and changes nothing: asks Notes for a number, which needs the permission to control it.
on run argv
	tell application "Notes" to return count of every folder
end run
