// Package keystore makes keys and certificates of the bytes they are kept in: PEM with
// plain or encrypted PKCS #8, PKCS #1 and SEC 1 keys, and PKCS #12 stores.
//
// It opens no files, and neither does it judge what it reads: whether a certificate is
// valid, or fits anything but the key beside it, is for its caller to say. The bytes may
// be hostile. What deriving a key of a passphrase costs is looked at before it is done,
// and bounded to a few seconds. What is inside the encrypted part of a PKCS #12 store
// can be seen only after its integrity check has passed, so who can hide a larger bill
// in there knows the passphrase.
//
// Errors are of type *Error. They quote neither the bytes nor the passphrase. All
// functions may be called from any goroutine.
package keystore
