-- Takes a folder (or "") and a text in HTML, whose first line becomes the note's name.
on run argv
	set {folderName, theBody} to items 1 thru 2 of argv
	tell application "Notes"
		if folderName is "" then
			make new note with properties {body:theBody}
		else
			make new note at folder folderName with properties {body:theBody}
		end if
	end tell
	return ""
end run
