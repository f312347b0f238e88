-- Takes a note's id and shows the note.
on run argv
	tell application "Notes"
		activate
		show note id (item 1 of argv)
	end tell
	return ""
end run
