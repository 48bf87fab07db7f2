// What scripts run in Thunderbird may use; `args` are their arguments. Its own modules, as its windows use them.

const { MailServices } = ChromeUtils.importESModule("resource:///modules/MailServices.sys.mjs");
const { cal } = ChromeUtils.importESModule("resource:///modules/calendar/calUtils.sys.mjs");
const { CalEvent } = ChromeUtils.importESModule("resource:///modules/CalEvent.sys.mjs");
const { CalTodo } = ChromeUtils.importESModule("resource:///modules/CalTodo.sys.mjs");
// A window's own timers stand still while it shows a dialog.
const { setTimeout } = ChromeUtils.importESModule("resource://gre/modules/Timer.sys.mjs");
const win = Services.wm.getMostRecentWindow("mail:3pane");
const pause = milliseconds => new Promise(done => setTimeout(done, milliseconds));
const implementing = (name, methods) => ({ QueryInterface: ChromeUtils.generateQI([name]), ...methods });
const code = status => `0x${(status >>> 0).toString(16)}`;

async function until(holds, what) {
  for (let turn = 0; turn < 600; turn++) {
    const found = await holds();
    if (found) return found;
    await pause(50);
  }
  throw new Error(`waited in vain for ${what}`);
}

// A URL that Thunderbird runs: its end, or its error.
function running(start) {
  return new Promise((done, fail) =>
    start(implementing("nsIUrlListener", {
      OnStartRunningUrl() {},
      OnStopRunningUrl(url, status) {
        if (Components.isSuccessCode(status)) done();
        else fail(new Error(code(status)));
      },
    }))
  );
}

// ---- Mail: functions take the address of an account

// What the dialog of a new account does with settings that were typed: try them, keep them.
async function addAccount(address, password, ports, host = "localhost") {
  const { AccountConfig } = ChromeUtils.importESModule("resource:///modules/accountcreation/AccountConfig.sys.mjs");
  const { ConfigVerifier } = ChromeUtils.importESModule("resource:///modules/accountcreation/ConfigVerifier.sys.mjs");
  const { CreateInBackend } = ChromeUtils.importESModule("resource:///modules/accountcreation/CreateInBackend.sys.mjs");
  const config = new AccountConfig();
  const login = { hostname: host, username: address, password, auth: Ci.nsMsgAuthMethod.passwordCleartext };
  Object.assign(config.identity, { realname: address.split("@")[0], emailAddress: address });
  Object.assign(config.incoming, login, { type: "imap", port: ports.imap, socketType: ports.kind });
  Object.assign(config.outgoing, login, { type: "smtp", port: ports.smtp, socketType: ports.kind, addThisServer: true });
  config.rememberPassword = true;
  const verifier = new ConfigVerifier(win.msgWindow, new win.AbortController().signal);
  await CreateInBackend.createAccountInBackend(await verifier.verifyConfig(config, false));
}

const account = address => MailServices.accounts.accounts.find(one => one.defaultIdentity?.email == address);
const server = address => account(address).incomingServer;
const folder = (address, name) =>
  name.split("/").reduce((at, part) => at.getChildNamed(part), server(address).rootFolder).QueryInterface(Ci.nsIMsgImapMailFolder);
const folders = address => server(address).rootFolder.descendants.map(one => decodeURI(one.URI).split("@localhost/")[1]);
// As a click on it: what is not shown in the window need not be watched.
async function show(it) {
  const pane = await until(() => win.document.getElementById("tabmail")?.currentAbout3Pane, "the window's panes");
  await until(() => pane.document.readyState == "complete" && pane.displayFolder, "its scripts");
  pane.displayFolder(it.URI);
}
const update = it => running(listener => it.updateFolderWithListener(null, listener));
const titled = (it, subject) => [...it.messages].find(one => one.mime2DecodedSubject == subject);
const arrival = (it, subject) => until(() => titled(it, subject), subject);

function copying(start) {
  return new Promise((done, fail) =>
    start(implementing("nsIMsgCopyServiceListener", {
      onStartCopy() {},
      onProgress() {},
      setMessageKey() {},
      getMessageId() {},
      onStopCopy: status => (Components.isSuccessCode(status) ? done() : fail(new Error(code(status)))),
    }))
  );
}

// From a folder into another one: "move" or "copy".
const transfer = (how, from, subject, to) =>
  copying(listener =>
    MailServices.copy.copyMessages(from, [titled(from, subject)], to, how == "move", listener, win.msgWindow, false)
  );

function bodyOf(header) {
  const { MsgHdrToMimeMessage } = ChromeUtils.importESModule("resource:///modules/gloda/MimeMessage.sys.mjs");
  return new Promise(done =>
    MsgHdrToMimeMessage(header, null, (_, mime) => done(mime.coerceBodyToPlaintext(header.folder)), true, {})
  );
}

// What a search finds whose box "run search on server" is ticked. `terms`: [attribute, words].
function search(it, ...terms) {
  const session = Cc["@mozilla.org/messenger/searchSession;1"].createInstance(Ci.nsIMsgSearchSession);
  session.addScopeTerm(Ci.nsMsgSearchScope.onlineMail, it);
  for (const [attribute, words] of terms) {
    const term = session.createTerm();
    const value = term.value;
    value.attrib = Ci.nsMsgSearchAttrib[attribute];
    value.str = words;
    term.value = value;
    term.attrib = value.attrib;
    term.op = Ci.nsMsgSearchOp.Contains;
    term.booleanAnd = true;
    session.appendTerm(term);
  }
  return new Promise((done, fail) => {
    const found = [];
    session.registerListener(implementing("nsIMsgSearchNotify", {
      onSearchHit: header => found.push(header.mime2DecodedSubject),
      onSearchDone: status => (Components.isSuccessCode(status) ? done(found) : fail(new Error(code(status)))),
      onNewSearch() {},
    }));
    session.search(win.msgWindow);
  });
}

// Send ("Now") or keep ("SaveAsDraft") what the composer would; done when the copy is in its folder.
function compose(address, mode, { to, subject, text, files = [] }) {
  const identity = account(address).defaultIdentity;
  const fields = Cc["@mozilla.org/messengercompose/composefields;1"].createInstance(Ci.nsIMsgCompFields);
  fields.from = `${identity.fullName} <${identity.email}>`;
  fields.to = to;
  fields.subject = subject;
  for (const path of files) {
    const file = Cc["@mozilla.org/file/local;1"].createInstance(Ci.nsIFile);
    file.initWithPath(path);
    const attachment = Cc["@mozilla.org/messengercompose/attachment;1"].createInstance(Ci.nsIMsgAttachment);
    attachment.url = Services.io.newFileURI(file).spec;
    attachment.name = file.leafName;
    fields.addAttachment(attachment);
  }
  return new Promise((done, fail) => {
    const listener = {
      QueryInterface: ChromeUtils.generateQI(["nsIMsgSendListener", "nsIMsgCopyServiceListener"]),
      onStartSending() {},
      onSendProgress() {},
      onStatus() {},
      onGetDraftFolderURI() {},
      onTransportSecurityError() {},
      onSendNotPerformed: (id, status) => fail(new Error(code(status))),
      onStopSending: (id, status) => status && fail(new Error(code(status))),
      onStartCopy() {},
      onProgress() {},
      setMessageKey() {},
      getMessageId() {},
      onStopCopy: status => (Components.isSuccessCode(status) ? done() : fail(new Error(code(status)))),
    };
    Cc["@mozilla.org/messengercompose/send;1"].createInstance(Ci.nsIMsgSend).createAndSendMessage(
      null, identity, account(address).key, fields, false, false, Ci.nsIMsgCompDeliverMode[mode], null,
      "text/plain", text, null, null, listener, "", null, Ci.nsIMsgCompType.New
    ).catch(fail);
  });
}

// Something that may end in a dialog: its outcome is in win.outcome, afterwards.
function launch(promise) {
  win.outcome = null;
  promise.then(() => (win.outcome = "done"), error => (win.outcome = String(error)));
}

// ---- Calendars and contacts

// "New calendar > on the network": what is found at a location, all of it kept.
async function addCalendars(login, password, location) {
  const found = await cal.provider.detection.detect(login, password, location, true, [], {});
  for (const one of [...found.values()].flat()) {
    one.setProperty("cache.enabled", true);
    cal.manager.registerCalendar(one);
  }
  return [...found].map(([provider, list]) => [provider.type, list.map(one => one.name)]);
}

const calendar = name => cal.manager.getCalendars().find(one => one.name == name);
const items = name => calendar(name).getItemsAsArray(Ci.calICalendar.ITEM_FILTER_ALL_ITEMS, 0, null, null);
const item = async (name, id) => (await items(name)).find(one => one.id == id);

function refresh(name) {
  const one = calendar(name);
  return new Promise((done, fail) => {
    const observer = implementing("calIObserver", {
      onStartBatch() {},
      onEndBatch() {},
      onLoad() {
        one.removeObserver(observer);
        done();
      },
      onAddItem() {},
      onModifyItem() {},
      onDeleteItem() {},
      onError: (_, number, message) => fail(new Error(message)),
      onPropertyChanged() {},
      onPropertyDeleting() {},
    });
    one.addObserver(observer);
    one.refresh();
  });
}

const inZone = (time, zone) => {
  const made = cal.createDateTime(time);
  made.timezone = cal.timezoneService.getTimezone(zone);
  return made;
};

// "New address book > CardDAV": the books that are found at a location, all of them kept.
async function addBooks(login, password, location) {
  const { CardDAVUtils } = ChromeUtils.importESModule("resource:///modules/CardDAVUtils.sys.mjs");
  const found = await CardDAVUtils.detectAddressBooks(login, password, location, false, true);
  for (const one of found) {
    const synced = new Promise(done => {
      Services.obs.addObserver(function observer() {
        Services.obs.removeObserver(observer, "addrbook-directory-synced");
        done();
      }, "addrbook-directory-synced");
    });
    one.create();
    await synced;
  }
  return found.map(one => one.name);
}

const book = name => MailServices.ab.directories.find(one => one.dirName == name && one.getStringValue("carddav.url", ""));
const person = (name, fullName) => book(name).childCards.find(one => one.displayName == fullName);
const vcard = one => one.getProperty("_vCard", "");
const sync = name => {
  const { CardDAVDirectory } = ChromeUtils.importESModule("resource:///modules/CardDAVDirectory.sys.mjs");
  return CardDAVDirectory.forFile(book(name).fileName).syncWithServer();
};
const addPerson = (name, text) => {
  const { VCardUtils } = ChromeUtils.importESModule("resource:///modules/VCardUtils.sys.mjs");
  book(name).addCard(VCardUtils.vCardToAbCard(text));
};
