-- Takes a note's id and a text in HTML, which is added to the end. Attachments would be lost: the caller asks
-- notes_read first.
on run argv
	set {theId, theAddition} to items 1 thru 2 of argv
	tell application "Notes"
		set theNote to note id theId
		set body of theNote to (body of theNote) & theAddition
	end tell
	return ""
end run
