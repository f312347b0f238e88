-- Takes a note's id. Gives one record: its text without formatting, how many attachments it has.
on run argv
	tell application "Notes"
		set theNote to note id (item 1 of argv)
		set theText to plaintext of theNote
		set howMany to count of attachments of theNote
	end tell
	return my asRecord({theText, howMany})
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
