// Appended to the pages of the documentation: reports what they show.
new MutationObserver(() => navigator.sendBeacon('/report',
	JSON.stringify({ page: location.pathname, seen: document.body.innerText.split('\n') })))
	.observe(document.body, { childList: true, subtree: true, characterData: true });
