-- Takes nothing. Gives a record for each contact: "person", id, name, nickname, job title;
-- then one for each person that the user's own card names: "relation", label, name, and
-- two empty fields.
on run argv
	set theRelations to {}
	tell application "Contacts"
		set theIds to id of every person
		set theNames to name of every person
		set theNicknames to nickname of every person
		set theTitles to job title of every person
		if exists my card then
			repeat with oneRelation in related names of my card
				set end of theRelations to {"relation", label of oneRelation, value of oneRelation, "", ""}
			end repeat
		end if
	end tell
	set theRecords to {}
	repeat with i from 1 to count of theIds
		set thePerson to {"person", item i of theIds, item i of theNames, item i of theNicknames, item i of theTitles}
		set end of theRecords to my asRecord(thePerson)
	end repeat
	repeat with oneRelation in theRelations
		set end of theRecords to my asRecord(contents of oneRelation)
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
