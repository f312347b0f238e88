-- Takes nothing. Gives the message that is selected as one record: id, sender's address, subject, text, and the
-- address to which a reply goes, which its sender chose; or nothing.
on run argv
	tell application "Mail"
		set theSelection to selection
		if theSelection is missing value or theSelection is {} then return ""
		set theMessage to item 1 of theSelection
		set theId to id of theMessage
		set theSender to extract address from (sender of theMessage)
		set theReply to reply to of theMessage
		if theReply is missing value or theReply is "" then set theReply to theSender
		set theReply to extract address from theReply
		set theSubject to subject of theMessage
		set theText to (content of theMessage) as text
	end tell
	return my asRecord({theId, theSender, theSubject, theText, theReply})
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
