-- Takes nothing. Gives a record for each note: "note", id, name; then one for
-- each folder: "folder", name, an empty field, ids of its notes.
on run argv
	set theFolders to {}
	tell application "Notes"
		set theIds to id of every note
		set theNames to name of every note
		repeat with oneFolder in (get every folder)
			set end of theFolders to {"folder", name of oneFolder, ""} & (id of every note of oneFolder)
		end repeat
	end tell
	set theRecords to {}
	repeat with i from 1 to count of theIds
		set end of theRecords to my asRecord({"note", item i of theIds, item i of theNames})
	end repeat
	repeat with oneFolder in theFolders
		set end of theRecords to my asRecord(contents of oneFolder)
	end repeat
	return my joined(theRecords, character id 30)
end run

on asRecord(theValues)
	-- Fields separated by character 31; no value holds a separator of its own.
	set theFields to {}
	repeat with oneValue in theValues
		set end of theFields to my cleaned(contents of oneValue)
	end repeat
	return my joined(theFields, character id 31)
end asRecord

on cleaned(theValue)
	if theValue is missing value then return ""
	set AppleScript's text item delimiters to {character id 30, character id 31}
	set theParts to text items of (theValue as text)
	return my joined(theParts, space)
end cleaned

on joined(theParts, theDelimiter)
	set AppleScript's text item delimiters to theDelimiter
	set theText to theParts as text
	set AppleScript's text item delimiters to ""
	return theText
end joined
